import type { Reporter, TestModule } from 'vitest/node';

/** Ends a run with what was skipped, and why, and the line `N passed, N failed, N skipped`.
 *  With MILLRACE_TEST_NO_SKIP=1 (as in CI) a skipped test is a failure. */
export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const strict = process.env.MILLRACE_TEST_NO_SKIP === '1';
    let passed = 0;
    let failed = errors.length;
    const skipped: string[] = [];
    for (const module of modules) {
      let tests = 0;
      for (const test of module.children.allTests()) {
        tests++;
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
        else skipped.push(test.fullName);
      }
      // Where a hook failed, its tests did not run: they are no mere skips.
      const broken = [...module.children.allSuites()].reduce((sum, suite) => sum + suite.errors().length, 0);
      failed += broken;
      if (tests === 0 && broken === 0 && !module.ok()) failed++;
    }
    if (skipped.length > 0) console.log(`\nskipped:\n${skipped.map((name) => `  ${name}`).join('\n')}`);
    if (strict) {
      failed += skipped.length;
      if (skipped.length > 0) {
        console.log('Skips count as failures here: install the programs that these tests need.');
        process.exitCode = 1;
      }
    }
    console.log(`\n${passed} passed, ${failed} failed${strict ? '' : `, ${skipped.length} skipped`}`);
  }
}
