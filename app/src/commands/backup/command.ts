import type { CommandSpecification } from '../control/specification.ts';

// What runs is loaded when it is called.
export const backup: readonly CommandSpecification[] = [
  {
    name: 'backup',
    summary: 'take a backup of the whole installation from a node that runs',
    arguments: [{ name: '[directory]', description: 'a new one; - for one tar archive on standard output' }],
    options: [
      { flags: '--local', description: 'as the first administrator of the node on this machine' },
      {
        flags: '-d, --data-dir <path>',
        description: 'where --local and --with-secret look (MILLRACE_DATA_DIR, default ./data)',
      },
      { flags: '--with-secret', description: "put this machine's MILLRACE_SECRET into it, too" },
    ],
    examples: [
      'millrace backup --local /srv/backups/monday',
      'millrace backup --url https://iot.example.org',
      'millrace backup --local - | ssh elsewhere "cat > millrace.tar"',
    ],
    run: async (call) => (await import('./backup.ts')).backUp(call),
  },
  {
    name: 'restore',
    summary: 'fill an empty installation from a backup; no node may run on it',
    arguments: [{ name: '<directory>', description: 'of the backup (of a tar archive: unpack it first)' }],
    options: [
      { flags: '-d, --data-dir <path>', description: 'where to (MILLRACE_DATA_DIR, default ./data)' },
      {
        flags: '--keep-log',
        description: 'the log is still there (Kafka, or <data>/log): what came after the backup is stored from it',
      },
      { flags: '--check', description: 'only check the backup: every file, by its checksum' },
    ],
    examples: ['millrace restore /srv/backups/monday --check', 'millrace restore /srv/backups/monday -d ./data'],
    offline: true,
    run: async (call) => (await import('./restore.ts')).restore(call),
  },
];
