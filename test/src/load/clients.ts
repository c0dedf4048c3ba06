import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';
import { WebSocket } from 'ws';
import { RawDevice } from '../coap/raw-device.ts';
import { codeOf, numberOf, OPTION } from '../coap/raw-message.ts';
import type { Millrace, Publisher } from '../millrace.ts';
import { Askers, type Pressure, pack, type Verdict } from './pressure.ts';

const HTTP_CLIENTS = 192;
const COAP_CLIENTS = 32;
const COAP_BYTES = 900;
const SENML_JSON = 110;
const ANSWER_MS_MAX = 120_000;
/** Messages that an MQTT client has sent and not seen acknowledged. */
const MQTT_IN_FLIGHT = 100;
/** What a WebSocket has not taken: more is not sent. */
const WS_UNSENT_BYTES_MAX = 262_144;
const WS_TURN_MS = 5;
const SLOW_ACK_MS = 250;
const FINISHED = 1000;
const TRY_AGAIN_LATER = 1013;

/** 202, or 503 with Retry-After. */
export function httpPressure(node: Millrace, publisher: Publisher): Pressure {
  const agent = new Agent({ keepAlive: true, maxSockets: HTTP_CLIENTS });
  const url = `${node.url}/channels/${publisher.channel}/messages`;
  const headers = { authorization: `Thing ${publisher.key}`, 'content-type': 'application/senml+json' };
  const ask = (number: number): Promise<Verdict> =>
    new Promise((resolve, reject) => {
      const sent = request(url, { agent, method: 'POST', headers, timeout: ANSWER_MS_MAX }, (answer) => {
        const { statusCode, headers: told } = answer;
        answer.resume();
        answer.on('error', reject);
        answer.on('end', () => {
          if (statusCode === 202) resolve('taken');
          else if (statusCode === 503 && Number(told['retry-after']) >= 1) resolve('later');
          else resolve({ surprise: `HTTP ${statusCode}, Retry-After: ${told['retry-after']}` });
        });
      });
      sent.on('timeout', () => sent.destroy(new Error('HTTP: no answer')));
      sent.on('error', reject);
      sent.end(pack(number));
    });
  const askers = new Askers('http', publisher, HTTP_CLIENTS, ask);
  return Object.assign(askers, { stop: stopThen(askers, () => agent.destroy()) });
}

/** 2.04, or 5.03 with Max-Age. */
export async function coapPressure(node: Millrace, publisher: Publisher): Promise<Pressure> {
  const devices = await Promise.all(Array.from({ length: COAP_CLIENTS }, () => RawDevice.open(node.coap)));
  const uri = `channels/${publisher.channel}/messages?auth=${publisher.key}`;
  const askers = new Askers('coap', publisher, COAP_CLIENTS, async (number, client): Promise<Verdict> => {
    const asked = { uri, format: SENML_JSON, payload: pack(number, COAP_BYTES) };
    const answer = await (devices[client] as RawDevice).ask(asked, ANSWER_MS_MAX);
    const code = codeOf(answer);
    const age = numberOf(answer, OPTION.MaxAge);
    if (code === '2.04') return 'taken';
    if (code === '5.03' && age !== undefined && age >= 1) return 'later';
    return { surprise: `CoAP ${code}, Max-Age: ${age}` };
  });
  return Object.assign(askers, {
    stop: stopThen(askers, () => {
      for (const device of devices) device.close();
    }),
  });
}

/** PUBACKs that come late, on a connection that stays. */
export class MqttPressure implements Pressure {
  readonly protocol = 'mqtt';
  readonly publisher: Publisher;
  readonly acknowledged: number[] = [];
  deferred = 0;
  readonly surprises: string[] = [];
  readonly #client: MqttClient;
  #number = 0;
  #inFlight = 0;
  #stopped = false;

  private constructor(client: MqttClient, publisher: Publisher) {
    this.#client = client;
    this.publisher = publisher;
    client.on('error', (error) => this.surprises.push(`MQTT: ${error.message}`));
    client.on('close', () => {
      if (!this.#stopped || this.#inFlight > 0) this.surprises.push('MQTT: the connection was closed');
    });
    for (let index = 0; index < MQTT_IN_FLIGHT; index++) this.#next();
  }

  static async open(node: Millrace, publisher: Publisher): Promise<MqttPressure> {
    const { thing, key } = publisher;
    const client = await connectAsync(node.mqtt, { username: thing, password: key, reconnectPeriod: 0, keepalive: 60 });
    return new MqttPressure(client, publisher);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const end = performance.now() + ANSWER_MS_MAX;
    while (this.#inFlight > 0 && this.#client.connected && performance.now() < end) await sleep(20);
    if (this.#inFlight > 0) this.surprises.push(`MQTT: ${this.#inFlight} never acknowledged`);
    await this.#client.endAsync(true);
  }

  #next(): void {
    if (this.#stopped) return;
    const number = ++this.#number;
    const begun = performance.now();
    this.#inFlight++;
    this.#client.publish(
      `channels/${this.publisher.channel}/messages/senml-json`,
      pack(number),
      { qos: 1 },
      (error) => {
        this.#inFlight--;
        if (error) this.surprises.push(`MQTT: ${error.message}`);
        else {
          this.acknowledged.push(number);
          if (performance.now() - begun > SLOW_ACK_MS) this.deferred++;
          this.#next();
        }
      },
    );
  }
}

/** Frames without acknowledgements: the socket is not read, and in the end closed with 1013. What a socket took that
 *  was not closed so counts as acknowledged. */
export class WsPressure implements Pressure {
  readonly protocol = 'ws';
  readonly publisher: Publisher;
  readonly acknowledged: number[] = [];
  deferred = 0;
  readonly surprises: string[] = [];
  readonly #url: string;
  readonly #timer: NodeJS.Timeout;
  #socket: WebSocket | null = null;
  /** On this socket. */
  #sent: number[] = [];
  #number = 0;
  #opening = false;

  constructor(node: Millrace, publisher: Publisher) {
    this.#url = `${node.url.replace('http', 'ws')}/channels/${publisher.channel}/messages`;
    this.publisher = publisher;
    this.#timer = setInterval(() => this.#turn(), WS_TURN_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const end = performance.now() + ANSWER_MS_MAX;
    while (this.#opening || (this.#socket !== null && this.#socket.bufferedAmount > 0)) {
      if (performance.now() > end) throw new Error('the WebSocket is not read any more');
      await sleep(20);
    }
    const socket = this.#socket;
    if (socket === null) return;
    const closed = once(socket, 'close');
    socket.close(FINISHED);
    await closed;
  }

  #open(): void {
    const socket = new WebSocket(this.#url, { headers: { authorization: `Thing ${this.publisher.key}` } });
    this.#opening = true;
    socket.on('open', () => {
      this.#opening = false;
      this.#socket = socket;
      this.#sent = [];
    });
    socket.on('error', (error) => this.surprises.push(`WebSocket: ${error.message}`));
    socket.on('close', (code) => {
      this.#opening = false;
      this.#socket = null;
      if (code === FINISHED) this.acknowledged.push(...this.#sent);
      else if (code === TRY_AGAIN_LATER) this.deferred++;
      else this.surprises.push(`WebSocket: closed with ${code}`);
    });
  }

  #turn(): void {
    const socket = this.#socket;
    if (socket === null) {
      if (!this.#opening) this.#open();
      return;
    }
    if (socket.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount >= WS_UNSENT_BYTES_MAX) this.deferred++;
    while (socket.bufferedAmount < WS_UNSENT_BYTES_MAX) {
      this.#sent.push(++this.#number);
      socket.send(pack(this.#number));
    }
  }
}

const stopThen = (askers: Askers, then: () => void) => async (): Promise<void> => {
  await Askers.prototype.stop.call(askers);
  then();
};
