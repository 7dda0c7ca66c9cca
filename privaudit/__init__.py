"""privaudit: how much of its training data does a released checkpoint give away?"""

__version__ = "0.1.0"
