"""The shared desk: to-do items, clocks and calendar, sign-offs, attachments."""
