"""What pyproject.toml cannot say: the deployments in capability/ become package data of fhirstore.capability."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("src"), "fhirstore.capability.statements"],
    package_dir={"": "src", "fhirstore.capability.statements": "capability"},
)
