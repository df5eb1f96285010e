"""What benchmarks/gateway_*.py share: a million people, signed calls, a load generator, and other stacks that do a part of the job."""
