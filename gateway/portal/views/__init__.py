"""The pages, a module per part of the navigation."""
