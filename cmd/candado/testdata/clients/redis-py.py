"""A lock's whole life through redis-py. Arguments: host, port, lock ID.

Prints the replies as one JSON array.
"""
import json
import sys

import redis

host, port, lock_id = sys.argv[1:4]
client = redis.Redis(host=host, port=int(port))
call = client.execute_command

token = call("LOCK.ACQUIRE", lock_id)
print(json.dumps([
    token,
    call("LOCK.ACQUIRE", lock_id),
    call("LOCK.HEARTBEAT", lock_id, token, "PX", 60000),
    call("LOCK.CHECK", lock_id, token),
    call("LOCK.RELEASE", lock_id, token),
    call("LOCK.CHECK", lock_id, token),
    call("LOCK.RELEASE", lock_id),
]))
