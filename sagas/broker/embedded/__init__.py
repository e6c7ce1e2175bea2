"""A small server that speaks Apache Iggy's TCP protocol, for development, tests and demos.

The real client is always the one in use: what works here works with an Iggy that is one address away. It listens on
loopback only and keeps its log on disk, so a restart loses nothing.

    frames     headers and primitives of the protocol     batches    what is sent, stored and polled
    options    of topics                                  replies    what answers carry
    files      append-only files and journals             segments   a partition on disk
    changes    records of the metadata journal            offsets    the journal of stored offsets
    disk       the data directory                         flusher    group commit
    commands   what handlers share                        messages, metadata, together, reading   the handlers
    places     partitions by their names                  arrivals   who waits for messages
    dispatch   which request goes where                   connection, server   sockets

Not there: users and permissions, tokens, TLS, renaming streams and topics.
"""
