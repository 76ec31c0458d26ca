"""A replica set of one node, small enough to read: MongoDB's transactions, for tests of what happens when writers meet.

It speaks MongoDB's protocol to the real pymongo, in a process of its own (`python -m support.replica FILE`), and knows
the commands that fhirstore sends and no others. It is written from MongoDB's manual, for what the other stand-in
(mongoeco, see support/mongo.py) does in another way:

- a transaction sees the state at its first command; of two that write one document the later one is aborted at once
  with WriteConflict (112) and the label TransientTransactionError, also when the other has committed meanwhile;
- a write outside of transactions waits for the transaction that holds the document;
- what is committed is in a journal before it is answered, so that a kill -9 loses nothing that was acknowledged;
- a commit that is asked for again is carried out once, even after a restart, and a retried write unless there was one;
  a commit of what is not there answers NoSuchTransaction (251);
- it says that it is a replica set, a standalone server, a secondary or an old version, as configured;
- it refuses what MongoDB refuses: an index over two lists (171), a 65th index (67), documents over 16 MB (10334), an
  index under the name of another (86), long regular expressions (51091);
- it refuses the commands (13) for which the user of one application has not been granted what MongoDB wants (`rights`).

What it does not show: anything about speed, elections, more than one node, sharding, disks, and whether MongoDB's
planner takes the index that we mean.
"""
