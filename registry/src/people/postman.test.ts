import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { uuidV7 } from '@millrace/core';
import { afterEach, describe, expect, test } from 'vitest';
import { invitationMail, verifyMail } from './mail-texts.ts';
import { isFinal, OUTBOX_FILES_MAX, outboxPostman } from './postman.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});
function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-outbox-'));
  directories.push(directory);
  return directory;
}

describe('the outbox', () => {
  test('keeps the newest mails, and makes a folder that others could read its own', async () => {
    const directory = temporary();
    const outbox = join(directory, 'outbox');
    mkdirSync(outbox, { mode: 0o755 });
    const old = Array.from({ length: OUTBOX_FILES_MAX + 2 }, () => `${uuidV7()}.eml`).sort();
    for (const name of old) writeFileSync(join(outbox, name), '');
    writeFileSync(join(outbox, 'note.txt'), 'not a mail');
    const postman = outboxPostman(directory, 'Millrace <mill@example.org>');
    const id = uuidV7();
    await postman.deliver(id, verifyMail('https://iot.example.org', 'ada@example.org', 'T'.repeat(43)));
    const names = readdirSync(outbox);
    expect(names).toHaveLength(OUTBOX_FILES_MAX + 1);
    expect(names).toEqual(expect.arrayContaining([`${id}.eml`, 'note.txt', old.at(-1)]));
    expect(names).not.toContain(old[0]);
    expect([statSync(outbox).mode & 0o777, statSync(join(outbox, `${id}.eml`)).mode & 0o777]).toEqual([0o700, 0o600]);
    // Whole, on one line: somebody will copy it.
    expect(readFileSync(join(outbox, `${id}.eml`), 'utf8')).toContain(`#token=${'T'.repeat(43)}\n`);
    postman.close();
  });

  test("holds no more header lines than ours, whatever an organisation's name says", async () => {
    const directory = temporary();
    const postman = outboxPostman(directory, 'Millrace <mill@example.org>');
    const told = {
      token: 't',
      org: 'A\r\nBcc: all@example.org\r\n\r\nhttps://evil.example/',
      role: 'viewer',
      inviter: 'x',
    };
    await postman.deliver(uuidV7(), invitationMail('https://iot.example.org', "o'hara@example.org", told));
    const [name = ''] = readdirSync(join(directory, 'outbox'));
    const [head = '', ...body] = readFileSync(join(directory, 'outbox', name), 'utf8').split('\n\n');
    expect(head.split('\n').filter((line) => /^bcc:/i.test(line))).toEqual([]);
    expect(body.join('\n\n')).not.toContain('https://evil.example');
    expect(body.join('\n\n')).toContain(`o'\\''hara@example.org`);
    postman.close();
  });
});

test('what a server says for good ends a mail; what it says of us, or for now, does not', () => {
  const said = (responseCode?: number) => isFinal(Object.assign(new Error('no'), { responseCode }));
  expect([550, 554, 501].map(said)).toEqual([true, true, true]);
  expect([421, 450, 535, 530, undefined].map(said)).toEqual([false, false, false, false, false]);
});
