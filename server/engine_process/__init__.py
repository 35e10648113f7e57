"""The engine in a process of its own, so that it and the event loop do not share an interpreter.

A step is hundreds of short calls into torch, each of which gives the interpreter away and has to
get it back from whoever took it: with a busy event loop in the same process, steps and calls wait
for each other. `remote` is the server's side, `child` the other, `wire` what goes between them.
"""
