import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CertificateMaker, type KeyPair } from '../bridge/clients/certificates.ts';
import { missingProgram } from '../bridge/clients/program.ts';
import { Millrace, newPublisher, type Publisher, Rest, run } from '../millrace.ts';

/** libcoap's client over one of the libraries that it can be built with. */
export type Libcoap = 'coap-client-openssl' | 'coap-client-gnutls';
export const missingLibcoaps: string | null =
  missingProgram('coap-client-openssl', '-h') ?? missingProgram('coap-client-gnutls', '-h');

/** A node that speaks CoAPS with keys and certificates, and a thing that may publish. */
export class CoapsNode {
  readonly millrace: Millrace;
  readonly directory: string;
  readonly maker: CertificateMaker;
  readonly root: KeyPair;
  admin = new Rest('', '');
  publisher: Publisher = { thing: '', key: '', channel: '', rest: this.admin };

  private constructor(millrace: Millrace, directory: string, maker: CertificateMaker, root: KeyPair) {
    this.millrace = millrace;
    this.directory = directory;
    this.maker = maker;
    this.root = root;
  }

  static async start(more: Readonly<Record<string, string>> = {}): Promise<CoapsNode> {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-coaps-'));
    const maker = new CertificateMaker(directory);
    const root = await maker.authority('Test root');
    const own = await maker.issue(root, '127.0.0.1', 'IP:127.0.0.1');
    const millrace = new Millrace({
      MILLRACE_COAPS_PORT: '0',
      MILLRACE_COAPS_CERT: own.certFile,
      MILLRACE_COAPS_KEY: own.keyFile,
      ...more,
    });
    const node = new CoapsNode(millrace, directory, maker, root);
    await millrace.start();
    node.admin = await Rest.asAdmin(millrace);
    node.publisher = await newPublisher(node.admin, 'coaps');
    return node;
  }

  /** `coaps://127.0.0.1:<port>` */
  get url(): string {
    const file = join(this.millrace.directory, 'run', 'ready.json');
    return (JSON.parse(readFileSync(file, 'utf8')) as { coaps: string }).coaps;
  }
  get port(): number {
    return Number(new URL(this.url.replace('coaps:', 'http:')).port);
  }
  /** Where the publisher's messages go. */
  messages(rest = ''): string {
    return `${this.url}/channels/${this.publisher.channel}/messages${rest}`;
  }

  async dispose(): Promise<void> {
    await this.millrace.dispose();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Answers that the client saw (`2.04`), and all that it said. */
export async function ask(
  program: Libcoap,
  ...words: readonly string[]
): Promise<{ readonly codes: readonly string[]; readonly text: string }> {
  const { stdout, stderr } = await run([program, '-v', '7', '-B', '20', ...words], {}, { msMax: 60_000 });
  const text = stdout + stderr;
  return { codes: [...text.matchAll(/ c:(\d\.\d\d) /g)].map(([, code = '']) => code), text };
}
