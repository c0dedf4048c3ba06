import {
  type CodecRunner,
  type Command,
  type Commands,
  type Logger,
  type LoraApplication,
  type LoraDirectory,
  type LoraReach,
  MillraceError,
  type NetworkServer,
} from '@millrace/core';
import { variablesOf } from '../intake.ts';
import type { LoraMeasures } from '../measures.ts';
import type { NetworkServers } from '../network-servers.ts';
import { type Downlink, type HttpEnqueue, httpEnqueue, mqttEnqueue } from './enqueue.ts';
import { askServer, type HttpAnswer } from './http-client.ts';
import type { KnownRoutes } from './known-routes.ts';
import { queueItemIdOf } from './queue-item.ts';
import { isBase64, isHex, isPort, PAYLOAD_BYTES_MAX } from './request.ts';
import type { SentDownlinks } from './sent-downlinks.ts';

const KINDS = ['lora.downlink'] as const;
const LEASE_MS = 60_000;
/** One downlink may take so long: what could not be done before its lease ends is not begun. */
const ONE_MS_MAX = 40_000;
const BATCH_MAX = 32;
const PER_ORG_MAX = 8;
/** Organisations that are served at a time. */
const ORGS_MAX = 64;
/** Commands that nobody told us of, or whose server was away. */
const LOOK_AGAIN_MS = 2_000;

export interface CarrierOptions {
  readonly commands: Commands;
  readonly directory: LoraDirectory;
  readonly codecs: CodecRunner | null;
  readonly servers: NetworkServers;
  readonly routes: KnownRoutes;
  readonly sent: SentDownlinks;
  readonly measures: LoraMeasures;
  readonly logger: Logger;
  readonly privateAddresses: boolean;
}

/** What can't be mended by waiting: a sentence for who wanted the downlink. */
class Undeliverable extends Error {}

/** Takes `lora.downlink` commands and enqueues them at their network servers.
 *  @holds organisations at the same time, so that none waits for another's server; of each one batch, in the order of
 *         the commands of a thing; what a server that is away does not take is given back, and tried again until it
 *         expires */
export class DownlinkCarrier {
  readonly #options: CarrierOptions;
  readonly #unsubscribe: () => void;
  readonly #timer: NodeJS.Timeout;
  /** Of each organisation what is being carried out. */
  readonly #lanes = new Map<string, Promise<void>>();
  #running: Promise<void> | null = null;
  #again = false;
  #stopped = false;

  constructor(options: CarrierOptions) {
    this.#options = options;
    this.#unsubscribe = options.commands.onQueued(() => this.look());
    this.#timer = setInterval(() => this.look(), LOOK_AGAIN_MS);
    this.#timer.unref();
  }

  /** Something may wait. */
  look(): void {
    if (this.#stopped || this.#lanes.size >= ORGS_MAX || this.#options.servers.all.length === 0) return;
    if (this.#running !== null) {
      this.#again = true;
      return;
    }
    this.#running = this.#takeOn().finally(() => {
      this.#running = null;
      if (this.#again) {
        this.#again = false;
        this.look();
      }
    });
  }

  async drain(): Promise<void> {
    this.stop();
    await this.#running;
    await Promise.all(this.#lanes.values());
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#unsubscribe();
  }

  async #takeOn(): Promise<void> {
    try {
      while (!this.#stopped && this.#lanes.size < ORGS_MAX) {
        const share = { perOrgMax: PER_ORG_MAX, except: [...this.#lanes.keys(), ...this.#cutOff()] };
        const taken = await this.#options.commands.takeAny(KINDS, LEASE_MS, BATCH_MAX, share);
        const startMs = performance.now();
        for (const org of new Set(taken.map((command) => command.org))) {
          const lane = this.#carry(
            taken.filter((command) => command.org === org),
            startMs,
          ).finally(() => {
            this.#lanes.delete(org);
            this.look();
          });
          this.#lanes.set(org, lane);
        }
        if (taken.length === 0) return;
      }
    } catch (error) {
      this.#tell(error);
    }
  }

  /** Organisations none of whose network servers this node is connected with now: another node may be. */
  #cutOff(): Set<string> {
    const { servers } = this.#options;
    const all = servers.all.filter(({ mqtt, http }) => mqtt !== null || http !== null);
    const orgs = new Set(all.map(({ org }) => org));
    for (const { id, org, http } of all) if (http !== null || servers.broker(id)?.connected) orgs.delete(org);
    return orgs;
  }

  /** Those of one organisation, one after the other.  @throws never */
  async #carry(taken: readonly Command[], startMs: number): Promise<void> {
    const { logger, measures } = this.#options;
    const away = new Set<string>();
    try {
      for (const command of taken) {
        if (this.#stopped) return;
        if (performance.now() - startMs <= LEASE_MS - ONE_MS_MAX) await this.#carryOut(command, away);
        else {
          measures.downlink('later');
          logger.debug({ command: command.id }, 'lora: a downlink is tried again later: those before took too long');
        }
      }
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error: unknown): void {
    const { logger } = this.#options;
    if (error instanceof MillraceError && error.retry !== 'never') {
      logger.warn({ code: error.code }, 'lora: downlinks cannot be looked for');
    } else logger.error({ err: error }, 'lora: a fault in carrying out downlinks');
  }

  /** @param away servers that did not answer a moment ago: they are not waited for again */
  async #carryOut(command: Command, away: Set<string>): Promise<void> {
    const { commands, measures, logger } = this.#options;
    if (command.expiresMs <= Date.now()) {
      measures.downlink('late');
      await commands.settle(command.id, { state: 'expired', detail: 'Nobody could enqueue it in time.' });
      return;
    }
    let asked: string | null = null;
    try {
      const { server, downlink } = await this.#prepare(command);
      if (away.has(server.id)) throw new Error('the network server does not answer');
      asked = server.id;
      await this.#enqueue(server, downlink, command);
      measures.downlink('enqueued');
      const { queueItemId, fPort, confirmed } = downlink;
      const result = { server: server.id, queue_item_id: queueItemId, f_port: fPort, confirmed };
      await commands.settle(command.id, { state: 'sent', result });
    } catch (error) {
      if (error instanceof Undeliverable) {
        measures.downlink('failed');
        await commands.settle(command.id, { state: 'failed', detail: error.message });
        return;
      }
      if (asked !== null) away.add(asked);
      // Its lease ends by itself: somebody tries again then.
      measures.downlink('later');
      const told = error instanceof Error ? error.message : String(error);
      logger.warn({ command: command.id, why: told }, 'lora: a downlink is tried again later');
    }
  }

  async #prepare(command: Command): Promise<{ server: NetworkServer; downlink: Downlink }> {
    const { directory, routes } = this.#options;
    const { f_port, data, hex, object, confirmed, flush } = command.arguments;
    const reach = await directory.reach(command.thing);
    if (reach === null) {
      throw new Undeliverable(
        'The thing is no LoRaWAN device: it has no DevEUI (external_id or metadata.lora.dev_eui).',
      );
    }
    if (f_port !== undefined && !isPort(f_port)) throw new Undeliverable('f_port is not 1 to 223.');
    const route = routes.of(command.thing);
    const application = this.#applicationOf(reach, route?.applicationId);
    const server = this.#serverOf(command.org, reach, application, route?.server ?? '');
    const applicationId = application?.applicationId ?? route?.applicationId ?? '';
    if (applicationId === '' && (server.http === null || server.kind === 'tts-v3')) {
      throw new Undeliverable(
        'The thing is connected to no channel that stands for an application (metadata.lora.app_id).',
      );
    }
    const content = await this.#contentOf(reach, command, { f_port, data, hex, object }, application?.channel ?? null);
    const deviceId = reach.deviceId ?? route?.deviceId ?? '';
    const tenant = route?.tenant || (server.mqtt?.username.split('@')[1] ?? '');
    return {
      server,
      downlink: {
        queueItemId: queueItemIdOf(command.id, confirmed === true),
        devEui: reach.devEui,
        deviceId,
        applicationId,
        tenant,
        confirmed: confirmed === true,
        flush: flush === true,
        expiresMs: command.expiresMs,
        ...content,
      },
    };
  }

  /** The application that the device was heard in, else the first one that its thing is connected with. */
  #applicationOf(reach: LoraReach, heardIn: string | undefined): LoraApplication | undefined {
    return reach.applications.find(({ applicationId }) => applicationId === heardIn) ?? reach.applications[0];
  }

  #serverOf(org: string, reach: LoraReach, application: LoraApplication | undefined, heardBy: string): NetworkServer {
    const all = this.#options.servers.all.filter(
      (server) => server.org === org && (server.mqtt !== null || server.http !== null),
    );
    const lora = reach.thing.metadata.lora as { server?: unknown } | undefined;
    for (const named of [lora?.server, application?.server]) {
      if (typeof named !== 'string' || named === '') continue;
      const found = all.find(({ id, name }) => id === named || name === named);
      if (found === undefined)
        throw new Undeliverable(`There is no network server ${named.slice(0, 100)}, or it is disabled.`);
      return found;
    }
    const heard = all.find(({ id }) => id === heardBy);
    if (heard !== undefined) return heard;
    const [first, second] = all;
    if (first === undefined) throw new Undeliverable('The organisation has no network server that is enabled.');
    if (second !== undefined) {
      throw new Undeliverable('There are several network servers: say which by metadata.lora.server of the channel.');
    }
    return first;
  }

  async #contentOf(
    reach: LoraReach,
    command: Command,
    { f_port, data, hex, object }: Readonly<Record<'f_port' | 'data' | 'hex' | 'object', unknown>>,
    channel: string | null,
  ): Promise<Pick<Downlink, 'content' | 'fPort'>> {
    const { directory, codecs } = this.#options;
    const port = f_port as number | undefined;
    const bytes = isBase64(data) ? Buffer.from(data, 'base64') : isHex(hex) ? Buffer.from(hex, 'hex') : null;
    if (bytes !== null) {
      if (bytes.length > PAYLOAD_BYTES_MAX)
        throw new Undeliverable(`The payload has more than ${PAYLOAD_BYTES_MAX} bytes.`);
      if (port === undefined) throw new Undeliverable('The downlink has no f_port.');
      return { content: { data: bytes }, fPort: port };
    }
    if (typeof object !== 'object' || object === null || Array.isArray(object)) {
      throw new Undeliverable('The downlink has no payload: give one of data (Base64), hex, object.');
    }
    const codec = await directory.codec(command.org, reach.thing, [], channel);
    if (codec === null || codecs === null) {
      if (port === undefined) throw new Undeliverable('The downlink has no f_port.');
      return { content: { object: object as Record<string, unknown> }, fPort: port };
    }
    const input = { data: object, fPort: port ?? 1, variables: variablesOf(reach.thing) };
    const encoded = await codecs.encode(codec, input);
    if (encoded.kind === 'failed') throw new Undeliverable(`The codec ${codec.name} failed: ${encoded.detail}`);
    const fPort = encoded.fPort ?? port;
    if (!isPort(fPort)) throw new Undeliverable('Neither the downlink nor its codec says an f_port from 1 to 223.');
    if (encoded.bytes.length === 0 || encoded.bytes.length > PAYLOAD_BYTES_MAX) {
      throw new Undeliverable(
        `The codec ${codec.name} made ${encoded.bytes.length} bytes: 1 to ${PAYLOAD_BYTES_MAX} fit.`,
      );
    }
    return { content: { data: encoded.bytes }, fPort };
  }

  /** @throws Undeliverable; anything else is tried again */
  async #enqueue(server: NetworkServer, downlink: Downlink, command: Command): Promise<void> {
    const { sent } = this.#options;
    const what = { command: command.id, confirmed: downlink.confirmed };
    // Its answer may be quicker than our own next step.
    if (server.kind === 'chirpstack-v3') sent.enqueuedFor(server.org, downlink.devEui, what);
    if (server.http === null) {
      const packet = mqttEnqueue(server, downlink);
      if (typeof packet === 'string') throw new Undeliverable(packet);
      const broker = this.#options.servers.broker(server.id);
      if (broker === undefined) throw new Error('the broker is not connected');
      await broker.publish(packet.topic, packet.payload);
      return;
    }
    const requests = httpEnqueue(server.kind, downlink);
    if (typeof requests === 'string') throw new Undeliverable(requests);
    for (const request of requests) {
      const { body } = await this.#ask(server.http, request);
      const id = (body as { id?: unknown } | null)?.id;
      if (request.method === 'POST' && typeof id === 'string' && id !== downlink.queueItemId)
        sent.enqueuedAs(server.org, id, what);
    }
  }

  async #ask(http: NonNullable<NetworkServer['http']>, request: HttpEnqueue): Promise<HttpAnswer> {
    const answer = await askServer(http, request, this.#options.privateAddresses);
    const { status } = answer;
    if (status >= 200 && status < 300) return answer;
    if (status === 429 || status >= 500) throw new Error(`the network server answered ${status}`);
    const told = (answer.body as { message?: unknown } | null)?.message;
    const why = typeof told === 'string' ? `: ${told.slice(0, 300)}` : '';
    throw new Undeliverable(`The network server answered ${status}${why}`);
  }
}
