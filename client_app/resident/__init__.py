"""A worker that outlives the message: in a deployment Flower starts a new process for each one.

Loading a base of 7 billion parameters takes longer than most messages. Here the first message's
process starts another, the resident, which holds the worker; later messages only hand it their
calls over a private socket. One node has one resident at a time. It ends with the node's executor,
when it has been idle for long, or when another run's message needs the room.

``owner`` finds out whom the resident belongs to, ``place`` is where the two sides meet, ``codec``
is what they say to each other, ``host`` the resident's side and ``caller`` the message's. None of
them knows what a worker does, or imports torch.
"""
