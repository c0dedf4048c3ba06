import { connect } from 'mqtt';

/** The floor: MQTT.js takes the events from the broker, each is parsed, and nothing else is done with it. */
const { port } = JSON.parse(process.argv[2] ?? '') as { port: number };
process.once('SIGTERM', () => process.exit());
process.once('disconnect', () => process.exit());

let events = 0;
let lastAt = 0;
const client = connect(`mqtt://127.0.0.1:${port}`, { clientId: 'bench-floor', protocolVersion: 4 });
client.on('message', (_topic, payload) => {
  const { deviceInfo } = JSON.parse(payload.toString()) as { deviceInfo: { devEui: string } };
  if (deviceInfo.devEui.length === 16) events++;
  lastAt = Date.now();
});
client.on('connect', () => {
  client.subscribe('application/+/device/+/event/+', { qos: 1 }, () => process.send?.({}));
});
process.on('message', () => process.send?.({ events, lastAt }));
