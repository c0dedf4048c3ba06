import { missingProgram } from '../bridge/clients/program.ts';
import { run } from '../millrace.ts';

export const LIBCOAP = 'coap-client-notls';
/** With `-h` it tells its version, and ends with 1. */
export const missingLibcoap = missingProgram(LIBCOAP, '-h');

/** What the client printed, and the answers that it saw.
 *  @shape codes: `2.05`, in the order in which they came; body without the newline that the program adds */
export interface Answered {
  readonly codes: readonly string[];
  readonly text: string;
}

/** Runs libcoap's client. It ends with 0 whatever was answered: what it says of packets is what counts. */
export async function libcoap(...words: readonly string[]): Promise<Answered> {
  const { stdout, stderr } = await run([LIBCOAP, '-v', '7', '-B', '25', ...words], {}, { msMax: 60_000 });
  const text = stdout + stderr;
  return { codes: [...text.matchAll(/ c:(\d\.\d\d) /g)].map(([, code = '']) => code), text };
}

/** The same without its log: what it prints is the payload. */
export async function libcoapBody(...words: readonly string[]): Promise<string> {
  const { stdout } = await run([LIBCOAP, '-v', '0', '-B', '25', ...words], {}, { msMax: 60_000 });
  return stdout;
}
