import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, freePort } from '../../millrace.ts';
import { missingProgram, Program } from './program.ts';
import { RawMqtt } from './raw-mqtt.ts';

/** Debian puts it where not everybody looks. */
const BROKER = ['mosquitto', '/usr/sbin/mosquitto'].find((program) => missingProgram(program, '-h') === null);
/** Why Eclipse Mosquitto can't run here, or null. */
export const missingBroker = BROKER === undefined ? 'mosquitto is not installed' : null;

/** Eclipse Mosquitto as the reference: what it does, our tests may ask of a node. */
export class MosquittoBroker {
  mqtt = '';
  #program: Program | null = null;
  #directory = '';

  async start(): Promise<this> {
    const port = await freePort();
    this.#directory = mkdtempSync(join(tmpdir(), 'millrace-mosquitto-'));
    const file = join(this.#directory, 'mosquitto.conf');
    const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'allow_duplicate_messages true'];
    writeFileSync(file, [...lines, 'persistence false', 'log_dest none', ''].join('\n'));
    this.#program = new Program([BROKER ?? 'mosquitto', '-c', file], () => {});
    this.mqtt = `mqtt://127.0.0.1:${port}`;
    await eventually('mosquitto to answer', 20_000, async () => {
      await (await RawMqtt.open(this)).cut();
      return true;
    });
    return this;
  }

  async dispose(): Promise<void> {
    await this.#program?.end();
    if (this.#directory !== '') rmSync(this.#directory, { recursive: true, force: true });
  }
}
