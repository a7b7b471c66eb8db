"""nginx for any target: upstreams, sites and locations, as the values of its templates."""

from __future__ import annotations

from deploykit.nginx.configuration import files

__all__ = ["files"]
