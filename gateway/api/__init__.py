"""The HTTP interface: one module per resource of the contract, each with its `ROUTES`."""
