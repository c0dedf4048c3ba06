import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { missingProgram } from '../bridge/clients/program.ts';
import { eventually, freePort } from '../millrace.ts';

const CONFIGURATION = new URL('../../../deploy/nginx/', import.meta.url).pathname;
const PROGRAM = missingProgram('nginx', '-v') === null ? 'nginx' : '/usr/sbin/nginx';
export const missingNginx: string | null = missingProgram(PROGRAM, '-v');

/** host:port of the nodes that it stands before; the first of each may be nobody's. */
export interface NodesBehind {
  readonly http: readonly string[];
  readonly mqtt: readonly string[];
  readonly coap: readonly string[];
}

/** Debian's nginx with what stands in deploy/nginx, on free ports of the loopback interface: only its ports, its nodes
 *  and where it writes are others. */
export class Nginx {
  readonly directory = mkdtempSync(join(tmpdir(), 'millrace-nginx-'));
  readonly ports: Readonly<Record<'http' | 'https' | 'certificates' | 'mqtts' | 'coap', number>>;
  stderr = '';
  readonly #child: ChildProcess;

  private constructor(ports: Nginx['ports'], child: (directory: string) => ChildProcess) {
    this.ports = ports;
    // Its workers are another user.
    chmodSync(this.directory, 0o711);
    this.#child = child(this.directory);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
  }

  /** @param more is put at the end of the servers' locations */
  static async start(
    behind: NodesBehind,
    certificate: { readonly cert: string; readonly key: string },
    more = '',
  ): Promise<Nginx> {
    const [http, https, certificates, mqtts, coap] = (await Promise.all(Array.from({ length: 5 }, freePort))) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const ports = { http, https, certificates, mqtts, coap };
    const nginx = new Nginx(ports, (directory) => {
      mkdirSync(join(directory, 'certs'));
      writeFileSync(join(directory, 'certs', 'server.crt'), certificate.cert);
      writeFileSync(join(directory, 'certs', 'server.key'), certificate.key);
      writeFileSync(join(directory, 'access.log'), '', { mode: 0o666 });
      for (const name of readdirSync(CONFIGURATION).filter((each) => each.endsWith('.conf'))) {
        const text = readFileSync(join(CONFIGURATION, name), 'utf8');
        writeFileSync(join(directory, name), moved(name, text, { directory, ports, behind, more }));
      }
      const asRoot = process.getuid?.() === 0 ? ' user root;' : '';
      const words = ['-c', join(directory, 'nginx.conf'), '-e', 'stderr', '-g', `daemon off;${asRoot}`];
      return spawn(PROGRAM, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    });
    await eventually('nginx to listen', 20_000, async () => {
      if (nginx.#child.exitCode !== null) throw new Error(`nginx ended: ${nginx.stderr}`);
      return new Promise<boolean>((resolve) => {
        const socket = connect(https, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
        socket.unref().once('connect', () => socket.end());
      });
    });
    return nginx;
  }

  /** What it wrote about requests. */
  get log(): string {
    return readFileSync(join(this.directory, 'access.log'), 'utf8');
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode === null) {
      this.#child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function moved(
  name: string,
  text: string,
  to: { directory: string; ports: Nginx['ports']; behind: NodesBehind; more: string },
): string {
  const { directory, ports, behind } = to;
  const listens: Readonly<Record<string, number>> = {
    80: ports.http,
    443: ports.https,
    9443: ports.certificates,
    8883: ports.mqtts,
    5683: ports.coap,
  };
  const nodes: Readonly<Record<string, readonly string[]>> = {
    millrace_ingest: behind.http,
    millrace_registry: behind.http,
    millrace_mqtt: behind.mqtt,
    millrace_coap: behind.coap,
  };
  const changed = text
    .replaceAll(/^( *)listen (\d+)(.*);$/gm, (_, indent, port, rest) => {
      if (listens[port] === undefined) throw new Error(`nobody expects nginx at port ${port}`);
      return `${indent}listen 127.0.0.1:${listens[port]}${rest};`;
    })
    .replaceAll(/^upstream (\w+) \{[^}]*\}/gm, (block, upstream) => {
      const servers = (nodes[upstream] as readonly string[]).map(
        (node) => `server ${node} max_fails=2 fail_timeout=5s;`,
      );
      return block.replaceAll(/^ *server .*;$/gm, '').replace('{', `{\n  ${servers.join('\n  ')}`);
    })
    .replaceAll('/tmp/nginx-millrace', join(directory, 'nginx'))
    .replaceAll('/dev/stdout', join(directory, 'access.log'));
  return name === 'locations.conf' ? changed + to.more : changed;
}
