import { MqttClient } from '../bridge/load/client.ts';
import { PacketType, publishPacket } from '../bridge/load/packets.ts';
import { topicOf, uplinkOf } from './event.ts';

export interface BurstPlan {
  readonly port: number;
  readonly devices: number;
  readonly events: number;
  /** Number of the first event. */
  readonly first: number;
}
/** @units startedAt: ms since 1970 */
export interface BurstFigures {
  readonly startedAt: number;
  readonly seconds: number;
  readonly bytes: number;
}

const IN_FLIGHT = 200;

/** Publishes uplinks to the network server's broker with QoS 1, in a process of its own, as fast as it takes them. */
const plan = JSON.parse(process.argv[2] ?? '') as BurstPlan;
process.once('disconnect', () => process.exit());

let sent = 0;
let acknowledged = 0;
let bytes = 0;
let done: () => void = () => {};
const finished = new Promise<void>((resolve) => {
  done = resolve;
});
const client = new MqttClient(0, {
  packet(_client, header) {
    if (header >> 4 === PacketType.puback) acknowledged++;
  },
  readEnd: () => fill(),
  lost: () => process.exit(1),
});

function fill(): void {
  const parts: Buffer[] = [];
  for (; sent < plan.events && sent - acknowledged < IN_FLIGHT; sent++) {
    const device = sent % plan.devices;
    const payload = uplinkOf(device, plan.first + sent, Date.now());
    bytes += payload.length;
    parts.push(publishPacket(topicOf(device), 1, (sent % 65_535) + 1, payload));
  }
  if (parts.length > 0) client.write(Buffer.concat(parts));
  if (acknowledged === plan.events) done();
}

await client.open(
  { host: '127.0.0.1', port: plan.port, tls: false },
  { username: 'bench', password: 'bench' },
  { clientId: 'bench-burst' },
);
const startedAt = Date.now();
fill();
await finished;
const figures: BurstFigures = { startedAt, seconds: (Date.now() - startedAt) / 1_000, bytes };
client.close();
process.send?.(figures);
