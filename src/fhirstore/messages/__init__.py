"""Texts of issues in other languages than English: catalogues of templates, and which language a request prefers."""
