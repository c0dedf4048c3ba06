// Regenerates src/envelope/generated from envelope.fbs. Needs `flatc` (Debian: flatbuffers-compiler).
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const out = new URL('./src/envelope/generated/', import.meta.url).pathname;
const schema = new URL('./src/envelope/envelope.fbs', import.meta.url).pathname;
rmSync(out, { recursive: true, force: true });
execFileSync('flatc', ['--ts', '-o', out, schema], { stdio: 'inherit' });
// flatc 2 writes imports without a file extension, which Node does not resolve.
for (const name of readdirSync(out, { recursive: true })) {
  if (!name.endsWith('.ts')) continue;
  const path = out + name;
  const text = readFileSync(path, 'utf8').replace(/from '(\.[^']*?)(?:\.js|\.ts)?'/g, "from '$1.ts'");
  writeFileSync(path, erasable(text));
}

/** Type-stripping runtimes refuse `enum`: a frozen object and a union say the same. */
function erasable(text) {
  return text
    .replaceAll(/(readUint8\([^;]*?\)) : Protocol\.unknown/g, '$1 as Protocol : Protocol.unknown')
    .replace(/export enum (\w+) \{([^}]*)\}/g, (_, name, body) => {
      const members = [...body.matchAll(/(\w+) = (\d+)/g)].map(([, key, value]) => `  ${key}: ${value},`).join('\n');
      return `export const ${name} = {\n${members}\n} as const;\nexport type ${name} = (typeof ${name})[keyof typeof ${name}];`;
    });
}
