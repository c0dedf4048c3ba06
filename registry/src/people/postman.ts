import { chmodSync, mkdirSync } from 'node:fs';
import { readdir, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTransport } from 'nodemailer';

export interface Mail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

/** How a mail leaves. Giving one twice (after a crash) is told by its id, which is part of the Message-ID. */
export interface Postman {
  /** @throws any error; see `isFinal` */
  deliver(id: string, mail: Mail): Promise<void>;
  close(): void;
}

/** How long a server may take to answer. The lease of a mail (mails.ts) is longer than all of it together. */
const CONNECT_MS_MAX = 10_000;
const SILENT_MS_MAX = 15_000;
export const DELIVERY_MS_MAX = 30_000;
/** Mails that the outbox keeps; the oldest go. */
export const OUTBOX_FILES_MAX = 1_000;

const message = (from: string, id: string, { to, subject, text }: Mail) => ({
  from,
  to,
  subject,
  text,
  messageId: `<${id}@${/@([^>\s]+)/.exec(from)?.[1] ?? 'millrace'}>`,
  headers: { 'Auto-Submitted': 'auto-generated' },
  // A mail is text of ours: nothing in it may make us read a file or ask a server.
  disableFileAccess: true,
  disableUrlAccess: true,
});

export function smtpPostman(url: string, from: string): Postman {
  const server = new URL(url);
  const transport = createTransport({
    host: server.hostname.replace(/^\[|\]$/g, ''),
    port: server.port === '' ? (server.protocol === 'smtps:' ? 465 : 587) : Number(server.port),
    secure: server.protocol === 'smtps:',
    requireTLS: server.searchParams.get('requireTLS') === 'true',
    ...(server.username === ''
      ? {}
      : { auth: { user: decodeURIComponent(server.username), pass: decodeURIComponent(server.password) } }),
    connectionTimeout: CONNECT_MS_MAX,
    greetingTimeout: CONNECT_MS_MAX,
    dnsTimeout: CONNECT_MS_MAX,
    socketTimeout: SILENT_MS_MAX,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async deliver(id, mail) {
      await within(DELIVERY_MS_MAX, transport.sendMail(message(from, id, mail)));
    },
    close: () => transport.close(),
  };
}

/** A server that talks for ever must not hold up the mails behind. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the mail server took longer than ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Without a server: each mail becomes a file that only we may read, for whoever runs the platform to hand on. */
export function outboxPostman(directory: string, from: string): Postman {
  const outbox = join(directory, 'outbox');
  const transport = createTransport({ streamTransport: true, buffer: true, newline: 'unix' });
  mkdirSync(outbox, { recursive: true, mode: 0o700 });
  chmodSync(outbox, 0o700);
  return {
    async deliver(id, mail) {
      const { message: composed } = await transport.sendMail(message(from, id, mail));
      // The time of the id (UUIDv7) comes first in it: names sort by age.
      const path = join(outbox, `${id}.eml`);
      await writeFile(`${path}.part`, unencoded(composed as Buffer, mail.text), { mode: 0o600 });
      await rename(`${path}.part`, path);
      const names = (await readdir(outbox)).filter((name) => name.endsWith('.eml')).sort();
      for (const name of names.slice(0, Math.max(0, names.length - OUTBOX_FILES_MAX)))
        await unlink(join(outbox, name)).catch(() => undefined);
    },
    close: () => transport.close(),
  };
}

/** The text as it is: somebody will read the file, and copy a token out of it. */
function unencoded(composed: Buffer, text: string): string {
  const [headers = ''] = composed.toString('utf8').split('\n\n', 1);
  const kept = headers.split('\n').filter((line) => !/^content-transfer-encoding:/i.test(line));
  return [...kept, 'Content-Transfer-Encoding: 8bit', '', text].join('\n');
}

/** Whether a server has said no for good.  @source RFC 5321 §4.2.1 */
export function isFinal(error: unknown): boolean {
  const code = error instanceof Error && 'responseCode' in error ? Number(error.responseCode) : 0;
  // What it says of our credentials (530 to 538) is for the operator to mend, not the mail's fault.
  return code >= 500 && code < 600 && !(code >= 530 && code <= 538);
}
