import { expect, test } from 'vitest';
import { invitationMail } from './mail-texts.ts';

test('what others call themselves brings no line and no link of theirs into a mail', () => {
  const told = (org: string) =>
    invitationMail('https://iot.example.org', 'ada@example.org', { token: 'T', org, role: 'editor', inviter: 'Eve' });
  for (const org of [
    'https://evil.example',
    'hthttps://tps://evil.example',
    'HTTPhttp://://evil.example',
    'x://evil',
  ]) {
    const { subject, text } = told(org);
    expect(subject).not.toContain('://');
    expect(text.replaceAll('https://iot.example.org', '')).not.toContain('://');
  }
  expect(told('Mill\r\nBcc: eve@evil.example').subject).toBe('Invitation to Mill  Bcc: eve@evil.example');
});
