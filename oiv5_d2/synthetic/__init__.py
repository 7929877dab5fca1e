"""A synthetic release of street scenes, in the real one's exact layout."""

from oiv5_d2.synthetic.partial import Rates, thin_out
from oiv5_d2.synthetic.release_files import write_release

__all__ = ["Rates", "thin_out", "write_release"]
