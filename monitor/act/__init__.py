"""The daemon's part in acting: it follows the actor's journal, attends to inboxes and places orders with the actor.

`connection` asks the actor; `journal` follows it; `inboxes` tells which candidates there are, and `contests` who else
changes the files; `orders` makes requests of decisions; `components` puts the status of each component together
(`status`); `findings` has the findings about them.
"""
