import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { CertificateMaker, type KeyPair, missingOpenssl } from '../bridge/clients/certificates.ts';
import { missingProgram, Program, runToEnd } from '../bridge/clients/program.ts';
import { eventually, freePort } from '../millrace.ts';

const PROGRAM = existsSync('/usr/sbin/mosquitto') ? '/usr/sbin/mosquitto' : 'mosquitto';
/** Why there can be no broker here, or null. */
export const missingMosquitto: string | null =
  missingOpenssl ?? missingProgram(PROGRAM, '-h') ?? missingProgram('mosquitto_passwd', '-h');

export const BROKER_USER = 'chirpstack';
export const BROKER_PASSWORD = 'the password of the broker';

/** Mosquitto as the broker of a network server: with TLS, and nobody is let in without a password.
 *  It keeps what it knows in its directory, so it may be ended and started again. */
export class Mosquitto {
  readonly directory = mkdtempSync(join(tmpdir(), 'millrace-mosquitto-'));
  port = 0;
  tlsPort = 0;
  authority: KeyPair | null = null;
  #program: Program | null = null;
  readonly lines: string[] = [];

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }
  get tlsUrl(): string {
    return `mqtts://localhost:${this.tlsPort}`;
  }

  async start(): Promise<this> {
    if (this.port === 0) await this.#prepare();
    const config = join(this.directory, 'mosquitto.conf');
    // It writes to standard error.
    this.#program = new Program([PROGRAM, '-c', config], (line) => this.lines.push(line));
    await eventually('mosquitto listens', 30_000, () => listens(this.port));
    return this;
  }

  async #prepare(): Promise<void> {
    // As root it becomes a user of its own.
    chmodSync(this.directory, 0o777);
    const maker = new CertificateMaker(this.directory);
    this.authority = await maker.authority('authority of the broker');
    const pair = await maker.issue(this.authority, 'localhost', 'DNS:localhost,IP:127.0.0.1');
    chmodSync(pair.keyFile, 0o644);
    const passwords = join(this.directory, 'passwords');
    await runToEnd(['mosquitto_passwd', '-c', '-b', passwords, BROKER_USER, BROKER_PASSWORD], Buffer.alloc(0));
    chmodSync(passwords, 0o644);
    this.port = await freePort();
    this.tlsPort = await freePort();
    writeFileSync(
      join(this.directory, 'mosquitto.conf'),
      [
        'allow_anonymous false',
        `password_file ${passwords}`,
        'persistence true',
        `persistence_location ${this.directory}/`,
        'autosave_on_changes true',
        'autosave_interval 1',
        `listener ${this.port} 127.0.0.1`,
        `listener ${this.tlsPort} 127.0.0.1`,
        `certfile ${pair.certFile}`,
        `keyfile ${pair.keyFile}`,
        '',
      ].join('\n'),
    );
  }

  /** The network server's own connection. */
  client(options: IClientOptions = {}): Promise<MqttClient> {
    return connectAsync(this.url, { username: BROKER_USER, password: BROKER_PASSWORD, ...options });
  }

  async end(): Promise<void> {
    await this.#program?.end();
    this.#program = null;
  }

  async dispose(): Promise<void> {
    await this.end();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function listens(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(undefined));
  });
}
