"""nginx for any target: upstreams, sites and locations, as the values of its templates."""

from __future__ import annotations

from deploykit.nginx.configuration import FAIR_MODULE, FAIR_PACKAGE, files

__all__ = ["FAIR_MODULE", "FAIR_PACKAGE", "files"]
