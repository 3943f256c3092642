// A lock's whole life through node-redis. Arguments: host, port, lock ID, protocol.
// Prints the replies as one JSON array.
import { createClient } from "redis";

const [host, port, id, protocol] = process.argv.slice(2);
const url = `redis://${host}:${port}`;
const client = createClient(protocol === "2" ? { url, RESP: 2 } : { url });
client.on("error", (err) => { console.error(err); process.exit(1); });
await client.connect();
const call = (...args) => client.sendCommand(args);

const token = await call("LOCK.ACQUIRE", id);
console.log(JSON.stringify([
  token,
  await call("LOCK.ACQUIRE", id),
  await call("LOCK.HEARTBEAT", id, String(token), "PX", "60000"),
  await call("LOCK.CHECK", id, String(token)),
  await call("LOCK.RELEASE", id, String(token)),
  await call("LOCK.CHECK", id, String(token)),
  await call("LOCK.RELEASE", id),
]));
await client.close();
