import {
  type Command,
  type CommandKind,
  type CommandOutcome,
  createLogger,
  createMetrics,
  EnvelopeReader,
  type Log,
  type Lwm2mAccount,
  type Metrics,
  readConfig,
} from '@millrace/core';
import type {
  CoapAnswer,
  CoapHandler,
  CoapObserver,
  CoapRequest,
  CoapResource,
  CoapResponse,
  OutgoingRequest,
  Peer,
  PeerIdentity,
} from '../../coap/contract.ts';
import { createEndpoint, type Endpoint } from '../../coap/endpoint/endpoint.ts';
import { Code, codeText, Format, Method, Option } from '../../coap/message/message.ts';
import { CHANNEL, ORG, TestGate, THING } from '../../testing/gate.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { Lwm2mConfig } from '../config.ts';
import { lwm2mServer } from '../server.ts';
import { MemoryCommands, MemoryLwm2mDirectory } from './memory-lwm2m.ts';

/** A reading as it stands on the log. */
export interface Published {
  readonly publisher: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly contentType: string;
  readonly records: readonly Record<string, unknown>[];
}

/** A device for tests: what it is asked goes to `answer`; it asks by `ask`. */
export class TestDevice {
  readonly endpoint: Endpoint;
  /** Requests of the server, as `<method> <path>[?query]`. */
  readonly asked: string[] = [];
  readonly requests: CoapRequest[] = [];
  /** Paths that the server observes. */
  readonly observers = new Map<string, CoapObserver>();
  answer: CoapHandler = () => ({ code: Code.NotFound });
  /** Hears nothing, as it sleeps. */
  deaf = false;
  readonly #server: Peer;

  constructor(server: Endpoint, options: { readonly port: number; readonly identity?: PeerIdentity | null }) {
    const common = { address: '192.0.2.1', verified: true };
    this.endpoint = createEndpoint((request) => this.#handle(request), {
      ackTimeoutMs: 100,
      dedupEntries: 64,
      dedupBytes: 65_536,
    });
    const here: Peer = {
      ...common,
      key: `192.0.2.1|${options.port}`,
      port: options.port,
      identity: options.identity ?? null,
      send: (datagram) => {
        const copy = Buffer.from(datagram);
        if (!this.deaf) setImmediate(() => this.endpoint.receive(copy, this.#server));
      },
    };
    this.#server = {
      ...common,
      key: 'server',
      port: 5_683,
      identity: null,
      send: (datagram) => {
        const copy = Buffer.from(datagram);
        setImmediate(() => server.receive(copy, here));
      },
    };
  }

  ask(request: OutgoingRequest): Promise<CoapAnswer> {
    return this.endpoint.request(this.#server, request).then(({ answer }) => answer);
  }

  /** @returns where it is registered */
  async register(query: readonly string[], links = LINKS): Promise<string> {
    const answer = await this.ask({
      method: Method.Post,
      path: '/rd',
      query,
      format: Format.Link,
      payload: Buffer.from(links),
    });
    if (answer.code !== Code.Created) throw new Error(`register: ${codeText(answer.code)}`);
    const location = answer.options.filter(([number]) => number === Option.LocationPath);
    return `/${location.map(([, value]) => value.toString()).join('/')}`;
  }

  #handle(request: CoapRequest): CoapResponse | Promise<CoapResponse> {
    const path = `/${request.path.join('/')}`;
    const query = request.query.length === 0 ? '' : `?${request.query.join('&')}`;
    this.asked.push(`${METHODS[request.method]} ${path}${query}`);
    this.requests.push(request);
    const answer = this.answer(request);
    if (request.observe !== 0) return answer;
    const observed = (response: CoapResponse): CoapResponse => ({
      ...response,
      onObserve: (observer) => this.observers.set(path, observer),
    });
    return answer instanceof Promise ? answer.then(observed) : observed(answer);
  }
}
const METHODS = ['', 'GET', 'POST', 'PUT', 'DELETE', 'FETCH', 'PATCH', 'iPATCH'];
export const LINKS = '</>;rt="oma.lwm2m",</1/0>,</3/0>,</3303/0>';

/** The LwM2M server of one node, over a log, a gate and a registry in memory. */
export interface OpenLwm2m {
  readonly server: Endpoint;
  readonly log: MemoryLog;
  readonly gate: TestGate;
  readonly directory: MemoryLwm2mDirectory;
  readonly commands: MemoryCommands;
  readonly metrics: Metrics;
  readonly keys: Map<string, string[]>;
  /** How often a peer must stay the same object now, by its key. */
  readonly kept: Map<string, number>;
  device(port: number, identity?: PeerIdentity): TestDevice;
  published(): Published[];
  /** Gives a thing a command.  @returns its id */
  command(kind: CommandKind, args: Command['arguments'], thing?: string): Promise<string>;
  /** The same, and waits for its end. */
  commanded(kind: CommandKind, args: Command['arguments']): Promise<CommandOutcome>;
  [Symbol.asyncDispose](): Promise<void>;
}

export const account = (fields: Partial<Lwm2mAccount> = {}): Lwm2mAccount => ({
  thing: THING,
  org: ORG,
  endpoint: 'ep1',
  security: 'none',
  channel: CHANNEL,
  observe: [],
  bootstrap: null,
  ...fields,
});

export async function openLwm2m(
  settings: Readonly<Record<string, string>> = {},
  shared: { readonly directory?: MemoryLwm2mDirectory; readonly commands?: MemoryCommands } = {},
): Promise<OpenLwm2m> {
  const log = new MemoryLog(2);
  const gate = new TestGate();
  const directory = shared.directory ?? new MemoryLwm2mDirectory();
  const commands = shared.commands ?? new MemoryCommands();
  const metrics = createMetrics();
  const resources = new Map<string, CoapResource>();
  const server = createEndpoint(
    (request) => resources.get(request.path[0] ?? '')?.handle(request) ?? { code: Code.NotFound },
    { ackTimeoutMs: 100, maxRetransmit: 1 },
  );
  const keys = new Map<string, string[]>();
  const kept = new Map<string, number>();
  const started = await lwm2mServer({
    config: readConfig(Lwm2mConfig, { MILLRACE_LWM2M_REQUEST_MS: '500', ...settings }),
    coap: {
      endpoint: server,
      mount: (mounted) => {
        for (const resource of mounted) for (const segment of resource.segments) resources.set(segment, resource);
      },
      keep: ({ key }) => kept.set(key, (kept.get(key) ?? 0) + 1),
      release: ({ key }) => kept.set(key, (kept.get(key) ?? 0) - 1),
    },
    directory,
    commands,
    keys: { keysOf: async (thing) => keys.get(thing) ?? [] },
    log: log as unknown as Log,
    gate,
    rate: { perSecond: 0, burst: 1 },
    metrics,
    logger: createLogger({ level: 'silent' }),
  }).start();
  const devices: TestDevice[] = [];
  let made = 0;
  const node: OpenLwm2m = {
    server,
    log,
    gate,
    directory,
    commands,
    metrics,
    keys,
    kept,
    device(port, identity) {
      const device = new TestDevice(server, { port, ...(identity === undefined ? {} : { identity }) });
      devices.push(device);
      return device;
    },
    published: () => (log.records ?? []).map(publishedOf),
    async command(kind, args, thing = THING) {
      const id = `command-${++made}`;
      await commands.put({ id, org: ORG, thing, kind, arguments: args, expiresMs: Date.now() + 60_000 });
      return id;
    },
    async commanded(kind, args) {
      return commands.end(await node.command(kind, args));
    },
    async [Symbol.asyncDispose]() {
      await started.stop();
      server.close();
      for (const device of devices) device.endpoint.close();
    },
  };
  return node;
}

function publishedOf(record: Uint8Array): Published {
  const reader = new EnvelopeReader();
  if (!reader.open(record)) throw new Error('no envelope');
  const { publisher, channel, subtopic, contentType, payload } = reader;
  return { publisher, channel, subtopic, contentType, records: JSON.parse(payload.toString()) };
}
