"""The library behind *A Taste of Deep Generative Models: Transformers and GANs*.

Each module is a room named after one idea of the course; a chapter imports little more than its own room. Rooms
depend on each other in one direction only (see `CONTRIBUTING.md`).
"""

__version__ = "0.1.0"
