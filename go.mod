module github.com/nogap-go/nogap

go 1.25.0

require (
	github.com/jmoiron/sqlx v1.3.5
	github.com/stretchr/testify v1.10.0
)
