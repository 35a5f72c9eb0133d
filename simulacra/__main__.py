"""python -m simulacra"""

from simulacra.cli import main

main()
