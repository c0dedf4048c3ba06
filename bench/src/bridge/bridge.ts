import { setTimeout as sleep } from 'node:timers/promises';
import { workDirectory } from '../directory.ts';
import { canPin } from '../pinning.ts';
import { machineFacts, reportedEnvironment } from '../report.ts';
import { Run } from '../run.ts';
import { startAedes } from './brokers/aedes.ts';
import type { Broker, BrokerName, CertificateFiles } from './brokers/broker.ts';
import { makeCertificate } from './brokers/certificate.ts';
import { startMillrace } from './brokers/millrace.ts';
import { installedMosquitto, startMosquitto } from './brokers/mosquitto.ts';
import { bridgeLoad } from './load/run.ts';
import { Measurement } from './measurement.ts';
import { measureOffline } from './offline.ts';
import type { BridgeOptions } from './options.ts';
import { type BridgeReport, judgeBridge } from './report.ts';

/** Servers on the first core, the load generator on the second. */
const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
/** The machine settles (write-back, exits) before the next process is measured. */
const SETTLE_MS = 1_000;
const DATA_PLANE_ROLES = 'ingest,registry';

/** Measures mosquitto, the bare library and the product by the same load generator, each in a process of its own, in
 *  interleaved rounds.
 *  @throws BenchError CHILD_FAILED, SETUP_FAILED; nothing it started runs on */
export async function runBridge(options: BridgeOptions, progress: (line: string) => void): Promise<BridgeReport> {
  const machine = machineFacts();
  const run = new BridgeRun(options, progress);
  await run.toEnd(options.signal);
  const figures = run.collector.figures();
  return {
    format: 1,
    benchmark: 'bridge',
    date: new Date().toISOString(),
    machine,
    settings: {
      rounds: options.rounds,
      seconds: options.seconds,
      connections: options.connections,
      payloadSize: options.payloadSize,
      pinned: canPin(),
      mosquitto: installedMosquitto()?.version ?? null,
      environment: reportedEnvironment(process.env),
    },
    figures,
    targets: judgeBridge(figures),
  };
}

class BridgeRun extends Run {
  readonly #options: BridgeOptions;

  constructor(options: BridgeOptions, progress: (line: string) => void) {
    super(options.rounds, progress);
    this.#options = options;
  }

  protected async all(): Promise<void> {
    const names = this.#brokers();
    if (!canPin()) this.say('cores are not separated here (no taskset, or one core): servers and generator share');
    const work = await workDirectory();
    try {
      const certificate = await makeCertificate(work.path);
      if (certificate === null) this.say('openssl is not installed: nothing is measured over TLS');
      for (this.round = 1; this.round <= this.#options.rounds; this.round++) {
        for (const name of names) await this.#measure(name, certificate);
      }
      if (names.includes('millrace')) await this.#offline();
    } finally {
      await work.remove();
    }
  }

  #brokers(): BrokerName[] {
    const wanted = [...this.#options.brokers];
    if (installedMosquitto() !== null || !wanted.includes('mosquitto')) return wanted;
    this.say('mosquitto is not installed (Debian: apt-get install mosquitto): its columns are left out');
    return wanted.filter((name) => name !== 'mosquitto');
  }

  async #measure(name: BrokerName, certificate: CertificateFiles | null): Promise<void> {
    const broker = await this.started(this.#start(name, certificate));
    const measurement = new Measurement({
      name,
      broker,
      load: bridgeLoad(GENERATOR_CORE),
      options: this.#options,
      add: (figure, unit, value) => this.collector.add(`${name}/${figure}`, unit, value),
      tell: (found) => this.say(`round ${this.round} of ${this.#options.rounds}, ${name}, ${found}`),
    });
    try {
      // With all roles only what the storing of the messages changes.
      await measurement.run(name !== 'millrace-all');
    } catch (error) {
      if (this.stopped) throw error;
      const stderr = broker.stderr();
      if (stderr !== '') this.say(`${name} wrote: ${stderr}`);
      throw error;
    }
    await this.ended(broker);
    await sleep(SETTLE_MS);
  }

  #start(name: BrokerName, certificate: CertificateFiles | null): Promise<Broker> {
    const options = { publishers: this.#options.connections, core: SERVER_CORE, certificate };
    switch (name) {
      case 'mosquitto':
        return startMosquitto(options);
      case 'aedes':
        return startAedes(options);
      case 'millrace':
        return startMillrace(options, DATA_PLANE_ROLES);
      case 'millrace-all':
        return startMillrace(options);
    }
  }

  async #offline(): Promise<void> {
    const { offline } = this.#options;
    const broker = await this.started(
      startMillrace({ publishers: offline.channels, core: SERVER_CORE, certificate: null }, DATA_PLANE_ROLES),
    );
    await measureOffline(
      broker,
      bridgeLoad(GENERATOR_CORE),
      { ...offline, payloadSize: this.#options.payloadSize, memorySeconds: this.#options.memorySeconds },
      (figure, unit, value) => this.collector.add(`millrace/${figure}`, unit, value),
      (line) => this.say(line),
    );
    await this.ended(broker);
  }
}
