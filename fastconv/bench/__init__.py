"""Compare fastconv with its peers: the layers, the contenders, their turns, and what is said about them.

`rows` lists what is measured, `contenders` holds one library a file, `rounds` gives each of them its turns, `truth`
tells who is right, and `summary`, `table`, `plot` and `record` show the outcome.
"""
