"""金桥 Jinqiao: the platform of a city for cataloguing, sharing, moving and answering for government data."""

__version__ = "0.1.0"
