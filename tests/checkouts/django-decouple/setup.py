from setuptools import setup

setup(name='site', install_requires=['django'])
