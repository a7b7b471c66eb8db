"""Generates and proves nginx + app-server stacks for Python web apps."""

__version__ = "0.1.0"
