"""`python -m privaudit` is `privaudit`."""

from privaudit.cli import main

if __name__ == "__main__":
    main()
