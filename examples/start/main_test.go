package main

func Example() {
	main()
	// Unordered output:
	// a ticket
	// a ticket
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// no ticket: atomic: wallets.balance at [ann] is 10: insufficient
	// left: 1 <nil>
}
