"""A synthetic release of street scenes, in the real one's exact layout."""

from oiv5_d2.synthetic.release_files import write_release

__all__ = ["write_release"]
