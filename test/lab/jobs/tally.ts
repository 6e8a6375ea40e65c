/** A job's checks: each is printed as it is made, and the last line counts them. */
export class Tally {
	#passed = 0;
	#failed = 0;

	/** @param problems what is wrong with it; none when it is right */
	add(name: string, problems: readonly string[], details = ""): void {
		if (problems.length === 0) {
			this.#passed++;
			console.log(`ok    ${name}${details && `: ${details}`}`);
			return;
		}
		this.#failed++;
		console.log(`FAIL  ${name}${details && `: ${details}`}`);
		for (const problem of problems) console.log(`      ${problem}`);
	}

	/** Prints how many passed and failed. @returns the exit code */
	finish(): number {
		console.log(`${this.#passed} passed, ${this.#failed} failed`);
		return this.#failed === 0 ? 0 : 1;
	}
}
