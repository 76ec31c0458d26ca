"""Packages the CapabilityStatements in capability/ as data of fhirstore.capability, which pyproject.toml cannot do."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("src"), "fhirstore.capability.statements"],
    package_dir={"": "src", "fhirstore.capability.statements": "capability"},
)
