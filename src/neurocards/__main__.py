"""python -m neurocards"""

from neurocards.cli import main

main()
