import { isIP } from 'node:net';
import { type API, Connection, type ConnectionOptions, SASLMechanisms } from '@platformatic/kafka';
import type { KafkaConnection } from '../client.ts';
import { brokerFault } from '../faults.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

const CONNECT_MS_MAX = 3_000;
/** The library's own time limit, out of the way of ours: it leaves the connection open and out of step. */
const NEVER_MS = 2 ** 31 - 1;

type Calling = (connection: Connection, ...all: unknown[]) => void;

/** A connection to one broker. It answers one call after the other, so whoever makes long calls has one to itself.
 *  @holds after a call that was not answered in time, or an answer that can't be read, it is closed */
export class Link {
  readonly #connection: Connection;
  #gone = false;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @throws what the library or the socket throws */
  static async open(address: Address, kafka: KafkaConnection): Promise<Link> {
    const connection = new Connection(kafka.clientId, optionsOf(address, kafka));
    const link = new Link(connection);
    connection.on('error', () => link.close());
    connection.on('close', () => link.close());
    try {
      await connection.connect(address.host, address.port);
    } catch (error) {
      link.close();
      throw error;
    }
    return link;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** @throws what the broker answers, as the library words it; LogError LOG_UNREACHABLE when it doesn't in time */
  call<Args extends unknown[], Answer>(api: API<Args, Answer>, msMax: number, ...args: Args): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(brokerFault(null, 'the connection is closed', undefined));
        return;
      }
      const timer = setTimeout(() => {
        reject(brokerFault(null, `the broker did not answer within ${msMax} ms`, undefined));
        this.close();
      }, msMax);
      const answered = (error: Error | null, answer?: Answer): void => {
        clearTimeout(timer);
        if (error === null || error === undefined) resolve(answer as Answer);
        else reject(error);
      };
      try {
        (api as unknown as Calling)(this.#connection, ...args, answered);
      } catch (error) {
        answered(error as Error);
      }
    });
  }

  close(): void {
    if (this.#gone) return;
    this.#gone = true;
    // The library's `close` alone waits until all is written, which a broker that hangs never reads.
    this.#connection.socket?.destroy();
    this.#connection.close().catch(() => {});
  }
}

function optionsOf({ host }: Address, { tls, sasl }: KafkaConnection): ConnectionOptions {
  return {
    connectTimeout: CONNECT_MS_MAX,
    requestTimeout: NEVER_MS,
    ...(tls === null
      ? {}
      : {
          tls: {
            ...(tls.ca === null ? {} : { ca: tls.ca }),
            ...(tls.cert === null ? {} : { cert: tls.cert }),
            ...(tls.key === null ? {} : { key: tls.key }),
          },
          tlsServerName: isIP(host) === 0,
        }),
    ...(sasl === null
      ? {}
      : { sasl: { mechanism: MECHANISMS[sasl.mechanism], username: sasl.user, password: sasl.password } }),
  };
}

const MECHANISMS = {
  plain: SASLMechanisms.PLAIN,
  'scram-sha-256': SASLMechanisms.SCRAM_SHA_256,
  'scram-sha-512': SASLMechanisms.SCRAM_SHA_512,
} as const;
