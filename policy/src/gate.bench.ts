// How fast the gate is: `node policy/dist/gate.bench.js` after a build.
import { connectionRules, Protocol } from '@millrace/core';
import { createCredentials } from './credentials.ts';
import { createEnforcer } from './enforcer.ts';
import { createGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { MemoryDirectory } from './testing/directory.ts';
import { ruleOf } from './testing/rules.ts';

const THINGS = 1_000;
const secret = new Uint8Array(32).fill(1);
const directory = new MemoryDirectory();
const credentials = createCredentials({ secret });
const sealer = createSealer(secret);
const gate = createGate({ directory, credentials, sealer });
const context = {
  protocol: Protocol.http,
  remoteAddress: '192.0.2.1',
  tls: false,
  mutualTls: false,
  nowMs: Date.now(),
};

const report = (name: string, count: number, ms: number): void => {
  const rate = Math.round((count / ms) * 1_000).toLocaleString('en');
  process.stdout.write(
    `${name.padEnd(52)} ${rate.padStart(12)}/s ${((ms * 1_000) / count).toFixed(3).padStart(9)} µs\n`,
  );
};
const measure = (name: string, count: number, work: (index: number) => void): void => {
  for (let index = 0; index < count / 10; index++) work(index);
  const start = performance.now();
  for (let index = 0; index < count; index++) work(index);
  report(name, count, performance.now() - start);
};

const keys: string[] = [];
for (let index = 0; index < THINGS; index++) {
  const id = `thing-${index}`;
  const key = credentials.newKey();
  keys.push(key);
  directory.thing(id, 'org', credentials.digest(key));
  directory.putChannel(`channel-${index}`, 'org');
  const rules = connectionRules(id, 'org', `channel-${index}`, { publish: true, subscribe: true });
  if (index % 2 === 1) {
    const object = `channels/channel-${index}/messages/secret*`;
    const condition = { address: ['10.0.0.0/8'] };
    rules.push(ruleOf({ subject: id, org: 'org', object, action: 'publish', effect: 'deny', condition }));
  }
  directory.setRules(id, 'org', rules);
}

let start = performance.now();
const principals = await Promise.all(
  keys.map(async (key) => {
    const identified = await gate.identify({ kind: 'key', key });
    if (identified.kind === 'refused') throw new Error(identified.reason);
    return identified.principal;
  }),
);
report('identify, cold (directory in memory)', THINGS, performance.now() - start);
start = performance.now();
await Promise.all(
  principals.map((principal, index) => gate.may(principal, 'publish', `channel-${index}`, '', context)),
);
report('may, cold: channel, rules and Casbin', THINGS, performance.now() - start);

const channels = principals.map((_, index) => `channel-${index}`);
const pick = <T>(list: readonly T[], index: number): T => list[index % THINGS] as T;
const even = (index: number): number => (index * 2) % THINGS;
measure('identify, warm', 1_000_000, (index) => void gate.identify({ kind: 'key', key: pick(keys, index) }));
measure('may, warm, by a connection', 5_000_000, (index) => {
  const at = even(index);
  void gate.may(pick(principals, at), 'publish', pick(channels, at), 'room/1', context);
});
measure('may, warm, rules with subtopic and address', 2_000_000, (index) => {
  const at = even(index) + 1;
  void gate.may(pick(principals, at), 'publish', pick(channels, at), '', context);
});
measure('may, new subtopic each time (Casbin only)', 20_000, (index) => {
  void gate.may(pick(principals, 1), 'publish', pick(channels, 1), `s${index}`, context);
});

const enforcer = createEnforcer();
const rules = await directory.rules('thing-1', 'org');
measure('enforcer, warm', 2_000_000, () => {
  enforcer.mayPublish('thing-1', 'org', 'channel-1', [], '', Protocol.unknown, context.nowMs, rules);
});

const fields = {
  id: new Uint8Array(16).fill(3),
  org: '0197f3c2-0000-7000-8000-000000000001',
  channel: '0197f3c2-0000-7000-8000-000000000002',
  subtopic: 'building/3/room/12',
  publisher: '0197f3c2-0000-7000-8000-000000000003',
  version: 12_345,
  receivedUs: Date.now() * 1_000,
  payload: new Uint8Array(500).fill(9),
};
const mac = new Uint8Array(16);
measure('seal, 500 B', 500_000, () => sealer.seal(fields, mac));
measure('verify, 500 B', 500_000, () => void sealer.verify(fields, mac));
const large = { ...fields, payload: new Uint8Array(1_048_576) };
measure('seal, 1 MiB', 500, () => sealer.seal(large, mac));
gate.stop();
