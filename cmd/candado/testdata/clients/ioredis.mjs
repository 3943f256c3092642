// A lock's whole life through ioredis. Arguments: host, port, lock ID, protocol.
// Prints the replies as one JSON array.
import Redis from "ioredis";

const [host, port, id, protocol] = process.argv.slice(2);
const client = new Redis(protocol === "2" ? { host, port, protocol: 2 } : { host, port });
client.on("error", (err) => { console.error(err); process.exit(1); });
const call = (...args) => client.call(...args);

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
await client.quit();
