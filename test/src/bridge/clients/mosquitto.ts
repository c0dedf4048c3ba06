import { randomBytes } from 'node:crypto';
import {
  type Client,
  type ClientKind,
  type Identity,
  Inbox,
  type Place,
  type PublishOptions,
  type Qos,
  type Topic,
} from './client.ts';
import { filterText, topicOf, topicText } from './mqtt-topic.ts';
import { missingProgram, Program, runToEnd } from './program.ts';

/** Stands before each message, since the program's own talk (-d) comes on the same stream. */
const MARK = 'message';
const READY_MS_MAX = 30_000;
/** Into a pipe the program would keep its talk back until the first message. */
const LINE_BY_LINE = ['stdbuf', '-oL'];

/** mosquitto_pub and mosquitto_sub: a process a message, and a process a subscriber. */
export const mosquitto: ClientKind = {
  name: 'mosquitto',
  missing: missingProgram('mosquitto_sub', '--help') ?? missingProgram('stdbuf', '--version'),
  publishes: true,
  subscribes: true,
  publishesEmpty: true,
  connect: async (place, identity) => new Mosquitto(place, identity),
};

class Mosquitto implements Client {
  readonly #to: readonly string[];
  readonly #programs: Program[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(place: Place, { thing, key }: Identity) {
    const { hostname, port } = new URL(place.mqtt);
    this.#to = ['-h', hostname, '-p', port, '-u', thing, '-P', key, '-V', 'mqttv311'];
  }

  publish(topic: Topic, payload: Uint8Array, options: PublishOptions = {}): Promise<void> {
    const words = ['mosquitto_pub', ...this.#to, '-t', topicText(topic, options), '-q', String(options.qos ?? 1)];
    if (options.retain === true) words.push('-r');
    const turn = this.#last.then(() => runToEnd([...words, payload.length === 0 ? '-n' : '-s'], payload));
    this.#last = turn.catch(() => {});
    return turn.then(() => {});
  }

  subscribe(filters: readonly Topic[], { qos = 1 }: { readonly qos?: Qos } = {}): Promise<Inbox> {
    const inbox = new Inbox();
    const words = [
      ...LINE_BY_LINE,
      'mosquitto_sub',
      ...this.#to,
      '-i',
      `sub-${randomBytes(8).toString('hex')}`,
      '-d',
      '-q',
      String(qos),
    ];
    words.push('-F', `${MARK} %q %r %x %t`, ...filters.flatMap((filter) => ['-t', filterText(filter)]));
    return new Promise((resolve, reject) => {
      const refused = (why: string): void => {
        clearTimeout(timer);
        reject(new Error(why));
      };
      const program = new Program(
        words,
        (line) => {
          if (line.startsWith('Subscribed')) {
            clearTimeout(timer);
            if (line.includes('128')) refused(`mosquitto_sub: ${line}`);
            else resolve(inbox);
          }
          // The program tells of a message before it prints it, and may print as long as it tells.
          const [, q, retain, hex, topic] = MESSAGE.exec(line) ?? [];
          if (topic !== undefined)
            inbox.add({
              ...topicOf(topic),
              payload: Buffer.from(hex ?? '', 'hex'),
              contentType: null,
              qos: Number(q) as Qos,
              retain: retain === '1',
            });
        },
        (how) => {
          inbox.end(how);
          refused(how);
        },
      );
      const timer = setTimeout(() => refused('mosquitto_sub did not subscribe'), READY_MS_MAX);
      this.#programs.push(program);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end()));
  }
}

const MESSAGE = new RegExp(`^${MARK} (\\d) (\\d) ([0-9a-f]*) (.*)$`, 's');
