"""`python -m gateway` is `comporta`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
