import { randomUUID } from 'node:crypto';
import {
  type AuditTrail,
  type Commands,
  type Component,
  type DeviceKeys,
  type Gate,
  type Log,
  type Logger,
  type Lwm2mDirectory,
  type Metrics,
  type Presence,
  Protocol,
  type Started,
} from '@millrace/core';
import { WallClock } from '../clock.ts';
import { answerTo, answerToFailure, diagnosis } from '../coap/answers.ts';
import type { CoapEndpoint, CoapRequest, CoapResource, CoapResponse } from '../coap/contract.ts';
import { Code, Format, Method } from '../coap/message/message.ts';
import type { CoapService } from '../coap/server.ts';
import { IngestCounts } from '../counts.ts';
import { MessagePublisher } from '../message-publisher.ts';
import { RateLimit } from '../rate.ts';
import { Bootstrap } from './bootstrap.ts';
import type { Lwm2mConfig } from './config.ts';
import { Conversation } from './conversation.ts';
import { Lwm2mCounts, type Operation } from './counts.ts';
import { loadDefinitions } from './definitions/definitions.ts';
import { Device } from './device.ts';
import { Dispatch } from './dispatch.ts';
import { Execution } from './execution.ts';
import { Fleet } from './fleet.ts';
import { Registrar } from './registrar.ts';
import { Reports } from './reports.ts';

export interface Lwm2mServerOptions {
  readonly config: Lwm2mConfig;
  /** Where devices speak to: takes the resources in, and asks devices. */
  readonly coap: Pick<CoapService, 'endpoint' | 'mount' | 'keep' | 'release'>;
  readonly directory: Lwm2mDirectory;
  readonly commands: Commands;
  /** For devices that are bootstrapped with their own key. */
  readonly keys: Pick<DeviceKeys, 'keysOf'>;
  readonly log: Log;
  readonly gate: Gate;
  /** Messages a second that one device may report, and at once; 0: no limit. */
  readonly rate: { readonly perSecond: number; readonly burst: number };
  readonly audit?: AuditTrail | undefined;
  readonly presence?: Presence | undefined;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

export interface Lwm2mService {
  /** Devices that are registered here. */
  readonly deviceCount: number;
}

/** LwM2M on the CoAP endpoint. Draining, it takes no more commands on and waits for those under way. */
export function lwm2mServer(options: Lwm2mServerOptions): Component<Lwm2mService> {
  return {
    name: 'ingest/lwm2m',
    async start(): Promise<Started<Lwm2mService>> {
      const server = new Lwm2mServer(options);
      options.coap.mount([server]);
      return {
        value: server,
        drain: (deadlineMs) => server.drain(deadlineMs),
        stop: () => server.stop(),
      };
    },
  };
}

const SWEEP_MS = 1_000;
/** A device that is a little late has not gone. */
const GRACE_MS = 2_000;
const NOT_HERE = diagnosis(Code.NotFound, 'There is nothing here.');
const NOT_REGISTERED = diagnosis(Code.NotFound, 'You are not registered: POST /rd first.');
const NO_CHANNEL = diagnosis(Code.Forbidden, 'Nobody said which channel the readings of this device go to.');
const SHED = diagnosis(Code.ServiceUnavailable, 'Too many reports wait for the log.', 2);
const BUSY = diagnosis(Code.ServiceUnavailable, 'Too many devices register at once.', 5);
const FAULT = diagnosis(Code.InternalServerError, 'A fault on our side.');

class Lwm2mServer implements CoapResource, Lwm2mService {
  readonly segments = ['rd', 'dp', 'bs'];
  readonly links = [
    '</rd>;rt="core.rd";ct=40',
    `</dp>;ct="${Format.SenmlJson} ${Format.SenmlCbor}"`,
    '</bs>;rt="core.rd-bs"',
  ];
  readonly #options: Lwm2mServerOptions;
  readonly #fleet: Fleet;
  readonly #counts: Lwm2mCounts;
  readonly #registrar: Registrar;
  readonly #bootstrap: Bootstrap;
  readonly #conversation: Conversation;
  readonly #dispatch: Dispatch;
  readonly #reports: Reports;
  readonly #clock = new WallClock();
  readonly #sweeper: NodeJS.Timeout;
  #underWay = 0;

  constructor(options: Lwm2mServerOptions) {
    this.#options = options;
    const { config, coap, metrics, logger, rate } = options;
    const definitions = loadDefinitions(config.MILLRACE_LWM2M_MODELS);
    const endpoint = (): CoapEndpoint => coap.endpoint;
    const node = randomUUID();
    const awakeMs = config.MILLRACE_LWM2M_AWAKE_MS;
    const requestMs = config.MILLRACE_LWM2M_REQUEST_MS;
    const fleet = new Fleet(config.MILLRACE_LWM2M_REGISTRATIONS_MAX, coap);
    this.#fleet = fleet;
    this.#counts = new Lwm2mCounts(metrics, fleet);
    const publisher = new MessagePublisher({
      ...options,
      protocol: Protocol.coap,
      clock: this.#clock,
      counts: IngestCounts.of(metrics, 'coap'),
      rate: new RateLimit(rate.perSecond, rate.burst),
    });
    this.#reports = new Reports({
      ...options,
      publisher,
      definitions,
      counts: this.#counts,
      reportsMax: config.MILLRACE_LWM2M_REPORTS_MAX,
    });
    this.#conversation = new Conversation({
      endpoint,
      definitions,
      reports: this.#reports,
      limits: {
        requestMs,
        awakeMs,
        payloadBytesMax: config.MILLRACE_LWM2M_PAYLOAD_BYTES_MAX,
        valuesMax: config.MILLRACE_LWM2M_VALUES_MAX,
        observationsMax: config.MILLRACE_LWM2M_OBSERVATIONS_PER_DEVICE_MAX,
      },
      onMalformed: (device, detail) => {
        this.#counts.reported('notify', 'malformed');
        logger.debug({ thing: device.thing, detail }, 'lwm2m: a report cannot be read');
      },
      onHeard: (device) => this.#heard(device, false),
    });
    this.#dispatch = new Dispatch({
      ...options,
      conversation: this.#conversation,
      execution: new Execution(this.#conversation, definitions),
      fleet,
      counts: this.#counts,
      node,
      requestMs,
      busyMax: config.MILLRACE_LWM2M_BUSY_DEVICES_MAX,
    });
    this.#registrar = new Registrar({
      ...options,
      fleet,
      node,
      linksMax: config.MILLRACE_LWM2M_LINKS_MAX,
      payloadBytesMax: config.MILLRACE_LWM2M_PAYLOAD_BYTES_MAX,
      onHeard: (device, anew) => this.#heard(device, anew),
    });
    this.#bootstrap = new Bootstrap({ ...options, endpoint, peers: coap, definitions, requestMs });
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#sweeper.unref();
  }

  get deviceCount(): number {
    return this.#fleet.size;
  }

  async handle(request: CoapRequest): Promise<CoapResponse> {
    const [segment, location, ...rest] = request.path;
    const { method } = request;
    const isWhole = location === undefined;
    if (rest.length > 0) return NOT_HERE;
    if (segment === 'dp' && isWhole) {
      return method === Method.Post
        ? this.#answer('send', () => this.#send(request))
        : notAllowed('POST sends values.');
    }
    if (segment === 'bs' && isWhole) {
      if (method !== Method.Post) return notAllowed('POST asks for the bootstrap.');
      return this.#answer('bootstrap', () => this.#bootstrap.request(request));
    }
    if (segment !== 'rd') return NOT_HERE;
    const registrar = this.#registrar;
    if (isWhole) {
      if (method !== Method.Post) return notAllowed('POST registers.');
      return this.#answer('register', () => registrar.register(request));
    }
    if (method === Method.Post) return this.#answer('update', () => registrar.update(request, location));
    if (method === Method.Delete) return this.#answer('deregister', () => registrar.deregister(request, location));
    return notAllowed('POST updates a registration, DELETE ends it.');
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#dispatch.drain(deadlineMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#sweeper);
    await this.#dispatch.stop();
  }

  async #answer(operation: Operation, work: () => Promise<CoapResponse>): Promise<CoapResponse> {
    const response = await this.#bounded(work);
    this.#counts.answered(operation, response.code);
    return response;
  }

  async #bounded(work: () => Promise<CoapResponse>): Promise<CoapResponse> {
    if (this.#underWay >= this.#options.config.MILLRACE_LWM2M_REQUESTS_MAX) return BUSY;
    this.#underWay++;
    try {
      return await work();
    } catch (error) {
      const refusal = answerToFailure(error);
      if (refusal !== null) return refusal.response;
      this.#options.logger.error({ err: error }, 'lwm2m: a fault');
      return FAULT;
    } finally {
      this.#underWay--;
    }
  }

  /** POST /dp.  @source OMA LwM2M Core 1.1 §6.4.8 */
  async #send(request: CoapRequest): Promise<CoapResponse> {
    const { peer, format, payload, query } = request;
    if (format !== Format.SenmlJson && format !== Format.SenmlCbor) {
      return diagnosis(Code.UnsupportedContentFormat, 'Send takes SenML JSON (110) and SenML CBOR (112).');
    }
    const bytesMax = this.#options.config.MILLRACE_LWM2M_PAYLOAD_BYTES_MAX;
    if (payload.length > bytesMax) return diagnosis(Code.RequestEntityTooLarge, `At most ${bytesMax} bytes.`);
    const shows = peer.identity !== null || query.some((part) => part.startsWith('auth='));
    const device = shows ? await this.#registrar.returning(request) : (this.#fleet.byPeer(peer.key) ?? null);
    if (device === null) return NOT_REGISTERED;
    if (!(device instanceof Device)) return device;
    this.#heard(device, false);
    const read = this.#conversation.readPayload(payload, format, null);
    if (read.kind !== 'values') {
      this.#counts.reported('send', 'malformed');
      return diagnosis(
        Code.BadRequest,
        read.kind === 'bad' ? `The values cannot be read: ${read.detail}.` : 'No values.',
      );
    }
    const unpublished = await this.#reports.publish(device, read.values, 'send');
    if (unpublished === null) return { code: Code.Changed };
    if (unpublished === 'no_channel') return NO_CHANNEL;
    return unpublished === 'shed' ? SHED : answerTo(unpublished, Number.POSITIVE_INFINITY);
  }

  /** A device has spoken. What is to be done for it begins once its answer is on the way. */
  #heard(device: Device, anew: boolean): void {
    const nowMs = Date.now();
    device.heard(nowMs, this.#options.config.MILLRACE_LWM2M_AWAKE_MS);
    this.#reports.seen(device, nowMs);
    setImmediate(() => this.#dispatch.wake(device, anew));
  }

  #sweep(): void {
    this.#clock.adjust();
    const nowMs = Date.now();
    for (const device of this.#fleet.all()) {
      if (device.registration.expiresMs + GRACE_MS > nowMs) continue;
      // Where registrations are kept it goes by itself: it may speak to another node by now.
      this.#fleet.remove(device);
      this.#counts.expired();
    }
  }
}

const notAllowed = (detail: string): CoapResponse => diagnosis(Code.MethodNotAllowed, detail);
