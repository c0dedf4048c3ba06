// What the message layer costs without a socket: `node ingest/dist/coap/endpoint/endpoint.bench.js` after a build.
import type { CoapObserver, CoapResponse, Peer } from '../contract.ts';
import { buildMessage, Code, Method, Option, parseMessage, Type, uintBytes } from '../message/message.ts';
import { MessageScanner } from '../message/scan.ts';
import { createEndpoint } from './endpoint.ts';
import { FloodLimiter } from './flood.ts';

const ROUNDS = 5;
const MESSAGES = 400_000;
const PEERS = 1_000;

const payload = Buffer.from(JSON.stringify([{ n: 'temperature', u: 'Cel', v: 21.5 }]).padEnd(100));
const datagram = buildMessage({
  type: Type.Con,
  code: Method.Post,
  messageId: 0,
  token: Buffer.from('12345678'),
  options: [
    [Option.UriPath, Buffer.from('channels')],
    [Option.UriPath, Buffer.from('01890000-0000-7000-8000-00000000000a')],
    [Option.UriPath, Buffer.from('messages')],
    [Option.ContentFormat, uintBytes(110)],
    [Option.UriQuery, Buffer.from(`auth=${'k'.repeat(43)}`)],
  ],
  payload,
});

let sentBytes = 0;
const peerOf = (index: number): Peer => ({
  key: `192.0.2.${index & 255}|${index}`,
  address: '192.0.2.1',
  port: index,
  identity: null,
  verified: true,
  send: (bytes) => {
    sentBytes += bytes.length;
  },
});

/** Another datagram for each message, as the socket gives it. */
const numbered = (index: number): Buffer => {
  const copy = Buffer.from(datagram);
  copy.writeUInt16BE(Math.floor(index / PEERS) & 0xffff, 2);
  return copy;
};

async function measure(name: string, count: number, run: () => Promise<void> | void): Promise<void> {
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now();
    await run();
    took.push(performance.now() - begun);
  }
  const best = Math.min(...took);
  const perSecond = Math.round((count / best) * 1_000);
  console.log(
    `${name.padEnd(52)} ${((best / count) * 1e6).toFixed(0).padStart(6)} ns  ${perSecond.toLocaleString('en')}/s`,
  );
}

const CHANGED: CoapResponse = { code: Code.Changed };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function requests(name: string, handler: () => CoapResponse | Promise<CoapResponse>): Promise<void> {
  const endpoint = createEndpoint(handler);
  const peers = Array.from({ length: PEERS }, (_, index) => peerOf(index));
  let index = 0;
  await measure(name, MESSAGES, async () => {
    for (let count = 0; count < MESSAGES; count++) {
      endpoint.receive(numbered(index), peers[index % PEERS] as Peer);
      index++;
      if (count % 256 === 0) await turn();
    }
    await turn();
  });
  endpoint.close();
}

async function notifications(): Promise<void> {
  const observers: CoapObserver[] = [];
  const endpoint = createEndpoint(() => ({ code: Code.Content, onObserve: (observer) => observers.push(observer) }));
  for (let index = 0; index < PEERS; index++) {
    const peer = peerOf(index);
    const acknowledging: Peer = {
      ...peer,
      send: (bytes) => {
        peer.send(bytes);
        const type = ((bytes[0] as number) >> 4) & 3;
        if (type === Type.Con)
          endpoint.receive(Buffer.from([0x60, 0, bytes[2] as number, bytes[3] as number]), acknowledging);
      },
    };
    endpoint.receive(Buffer.from([0x42, 1, 0, 1, 9, 9, 0x60]), acknowledging);
  }
  const response: CoapResponse = { code: Code.Content, payload, format: 110, maxAge: 60 };
  await measure(`notification to one of ${PEERS.toLocaleString('en')} observers`, MESSAGES, () => {
    for (let count = 0; count < MESSAGES; count++) observers[count % PEERS]?.notify(response);
  });
  endpoint.close();
}

const scanner = new MessageScanner();
await measure('scan of five options', MESSAGES, () => {
  for (let count = 0; count < MESSAGES; count++) scanner.scan(datagram);
});
await measure('parseMessage', MESSAGES, () => {
  for (let count = 0; count < MESSAGES; count++) parseMessage(datagram);
});
await measure('a copy of the datagram (in all that follow)', MESSAGES, () => {
  for (let count = 0; count < MESSAGES; count++) numbered(count);
});
await requests('request, answered at once', () => CHANGED);
await requests('request, answered by a promise', () => Promise.resolve(CHANGED));
await notifications();
const limiter = new FloodLimiter();
for (let count = 0; count < 200; count++) limiter.penalize('192.0.2.9', 0);
await measure('flood limiter, while some address is held', MESSAGES, () => {
  for (let count = 0; count < MESSAGES; count++) limiter.isIgnored('192.0.2.1', 10);
});
console.log(`RSS ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB, ${Math.round(sentBytes / 2 ** 20)} MiB sent`);
